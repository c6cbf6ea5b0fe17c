"""InternImage encoder, UPerNet decoder and the operator they share."""
