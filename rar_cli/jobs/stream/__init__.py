"""The stream of pictures: read, restore, finish, write."""
