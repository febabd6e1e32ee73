"""SAM 2 as the mask model of Sa2VA: :class:`~sa2va_native.models.sam2.model.LanguageSam2`."""
