"""The parent process. It imports neither redis, nor Django, nor user code, nor asyncio."""
