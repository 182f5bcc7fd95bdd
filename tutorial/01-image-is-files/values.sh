TAG=$(pick tag mon tue wed thu fri)
SPICE=$(pick spice saffron cardamom tamarind turmeric cumin ginger)
GRAMS=$(number grams 11 987)
MINUTES=$(number minutes 3 59)
