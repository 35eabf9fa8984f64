"""`gateway-proxy record`: an ordinary client of the bus that keeps what it hears as Parquet files."""
