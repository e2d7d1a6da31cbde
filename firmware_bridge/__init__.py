"""The wire: C99 codec and safety limiter, and the emulators that speak it. Knows nothing of `edge`."""
