"""Past one machine, on existing engines: encoding with Ray Data, searching with Milvus. Both come with `minirag[cluster]`."""
