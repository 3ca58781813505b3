"""The three parts at paper scale: public pretrained components behind the interfaces of the small ones.

Codec, assessor and restorer of `rar-l` differ from those of `rar-s` by configuration alone; the
loop, the engine and training see no difference.
"""
