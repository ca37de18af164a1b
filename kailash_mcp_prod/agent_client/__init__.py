"""MCP servers as the agent node sees them: their entries, connections and tools."""
