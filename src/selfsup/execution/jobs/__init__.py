"""One job in a worker: training, evaluating its cells, and writing what they leave."""
