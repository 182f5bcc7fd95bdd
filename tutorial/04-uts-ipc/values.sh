DESK=$P-desk
NAME=$(pick name counter pantry cellar larder)
OTHER=$(pick other window hatch stairs cart)
OLD=$(pick old monday tuesday friday sunday)
QUEUE=$(pick queue orders bills guests tips)
