"""The pages under Django's admin: queues, workers, dead letters, tasks. They see Redis through worker/ alone."""
