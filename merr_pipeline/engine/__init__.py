"""How the work is spread over processes. An engine never decides what is to be done."""
