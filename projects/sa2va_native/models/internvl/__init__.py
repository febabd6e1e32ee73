"""InternVL as the multimodal language model of Sa2VA: :class:`~sa2va_native.models.internvl.model.InternVL`."""
