"""What the commands print: tables, bars, usage errors."""
