"""Who a clip is about, when their expression peaks, and the pictures of that moment."""
