"""The programs that measure faces, and how they are installed and driven."""
