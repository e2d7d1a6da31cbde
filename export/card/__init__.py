"""A bundle's report card: what a person wants to know of it in a minute, gathered once and shown in three ways."""
