"""Files that people upload, and pictures made of them."""
