"""From graded knees to a member: data, augmentation, schedule, loop, checkpoint, export."""
