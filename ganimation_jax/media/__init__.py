"""Pictures and videos as people have them: read whatever comes, write whole files."""
