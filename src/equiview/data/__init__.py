"""Where views, pairs of pictures and clips come from, and the truth between them."""
