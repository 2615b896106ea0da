"""Recordings in S3: uploads, presigned URLs, folder reservation, the embedded store."""
