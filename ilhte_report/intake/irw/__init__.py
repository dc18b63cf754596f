"""Tables of the Item Response Warehouse."""
