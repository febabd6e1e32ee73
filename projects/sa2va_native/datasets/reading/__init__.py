"""What strangers' files hold, checked: pictures, masks, json, csv, tar, video."""
