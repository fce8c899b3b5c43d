"""Where a model's time goes: each launch timed by the device, held against what the device can do.

:meth:`a1400.engine.model.Model.profile` makes a :class:`Profile`; ``a1400 profile`` shows it, and writes it as a trace
(:mod:`a1400.profile.trace`) or as a page of HTML (:mod:`a1400.profile.html`).
"""

from a1400.profile.result import Group, LaunchProfile, Moments, Profile, Tenant, Times
from a1400.profile.roofline import Roofline

__all__ = ["Group", "LaunchProfile", "Moments", "Profile", "Roofline", "Tenant", "Times"]
