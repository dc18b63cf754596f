"""Where tables come from: files, the bundled collection, the Item Response Warehouse; and what is wrong with them."""
