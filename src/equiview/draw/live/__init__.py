"""Features packed for a page that answers clicks without a server: reduced, 8 bits a number, the loss measured."""
