"""`make images`: builds the image with podman on bases made on this machine, runs both compositions, and judges.

No registry is asked. Needs root, and the packages that tests/servers/system_packages lists under "images".
"""
