"""Where the images of a bulk run come from: folders, tables, buckets and notifications."""
