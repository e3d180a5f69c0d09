import sys; from PIL import Image
f,top,bottom,out=sys.argv[1:5]; i=Image.open(f); i.crop((0,int(top),i.width,int(bottom))).save(out)
