"""What jobs cost, and which of them fit into a budget of time."""
