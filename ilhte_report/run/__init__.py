"""Many tables, each an executed notebook, in a folder that can be resumed and compared."""
