"""Process reward models of a policy's own: solutions it writes, labels of their steps, training and a card."""
