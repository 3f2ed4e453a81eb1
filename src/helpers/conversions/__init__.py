"""What other clients and public sets write, as the course writes it: values, tool declarations, conversations.

Converted is what has one meaning only; all else is refused, with a reason short enough to count rows by.
"""

from __future__ import annotations
