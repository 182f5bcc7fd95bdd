A=$(pick a soup rice fish cake)
B=$(pick b bill order table guest)
WORD=$(pick word saffron cardamom tamarind turmeric cumin ginger)
