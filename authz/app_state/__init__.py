"""`/app-state`: what apps keep for themselves (SMART App Launch 2.2, App State)."""
