"""What runs beside calls: one worker class, and those that need one."""
