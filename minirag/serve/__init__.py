"""A query service over a retriever, and over a RAG model where there is one: for a class, on loopback unless told."""
