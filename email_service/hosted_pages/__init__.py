"""Pages for products without their own: confirm an address, enter a code, ask for another mail."""
