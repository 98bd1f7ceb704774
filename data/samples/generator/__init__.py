"""Makes the sample clips; ``../make_samples.py`` says which and runs it.

``clips`` describes a clip. ``landmarks``, ``portraits``, ``actions``, ``pose`` and ``warp`` make
its pictures, ``speech`` its sound, ``media`` its files, ``truth`` what is known of it.
"""
