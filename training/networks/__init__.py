"""The networks: InternImage and UPerNet with what stands before and after them, UNet, MetNet."""
