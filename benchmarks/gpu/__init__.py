"""What a worker with a GPU would do, checked and measured."""
