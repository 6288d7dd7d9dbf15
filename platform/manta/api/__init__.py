"""The acts of Manta as functions, and what they return; `manta` has them all by name.

The command line calls the same functions. Nothing here is imported by `import manta` itself: each
name brings its module, and what that needs, when it is first used.
"""
