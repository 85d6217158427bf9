"""To learn by: the engine in a hundred lines (:mod:`.engine`)."""
