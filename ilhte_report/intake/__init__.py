"""Sources of tables (files, the bundled collection, the Item Response Warehouse), and checks of their content."""
