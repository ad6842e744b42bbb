"""Around every RPC: who may call it, its id, size and rate, its errors as google.rpc.Status, its metrics, its span."""
