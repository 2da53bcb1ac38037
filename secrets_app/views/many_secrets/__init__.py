"""Pages that change many secrets at once: bulk actions, the table, import and export."""
