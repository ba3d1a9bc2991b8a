"""How a world shows that something went wrong with it, measured on itself: no true picture is needed."""
