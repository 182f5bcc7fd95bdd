DISH=$(pick dish dumplings curry stew risotto)
PRICE=$(number price 4 19)
DAY=$(pick day monday tuesday friday sunday)
