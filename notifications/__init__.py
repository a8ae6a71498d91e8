"""What happened and who is told: notifications, channels, deliveries."""
