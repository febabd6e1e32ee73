"""Reads and checks untrusted files: pictures, masks, json, csv, tar, video."""
